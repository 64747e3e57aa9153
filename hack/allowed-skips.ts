/**
 * The tests that may be skipped in continuous integration, by full name, each with the kernel feature that it
 * needs and that not every kernel has. Everything else that is skipped there has failed.
 */
export const allowedSkips: Readonly<Record<string, string>> = {};
