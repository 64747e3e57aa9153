/** Text for people and pipes on stdout. Daemons and the CNI plugin have their own ways of writing. */

let listening = false;

/** A reader that has seen enough, such as `head`, is no error: the process then ends at once, with code 0. */
export function print(text: string): void {
  if (!listening) {
    process.stdout.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE") process.exit(0);
      throw error;
    });
  }
  listening = true;
  process.stdout.write(text);
}
