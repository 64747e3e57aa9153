/** Text for people and pipes on stdout. Daemons and the CNI plugin have their own ways of writing. */

/** A reader that has seen enough, such as `head`, is no error: the process then ends at once, with code 0. */
export function print(text: string): void {
  process.stdout.once("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  process.stdout.write(text);
}
