const GROWS_EXT4 = "CAP_SYS_RESOURCE, without which no mounted ext4 grows: some sandboxes take it from root";

/**
 * The tests that may be skipped in continuous integration, by full name, each with the kernel feature that it
 * needs and that not every kernel has. Everything else that is skipped there has failed.
 */
export const allowedSkips: Readonly<Record<string, string>> = {
  "on images with ext4 > NodeExpandVolume: a published volume grows, and repeating it is OK": GROWS_EXT4,
  "on images with ext4 > NodeExpandVolume: a staged volume grows, and repeating it is OK": GROWS_EXT4,
};
