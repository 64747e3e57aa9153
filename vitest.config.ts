import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    reporters: ["default", "./hack/closing-line-reporter.ts"],
    projects: [
      {
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "test/**/*.test.ts", "hack/**/*.test.ts"],
          exclude: ["test/e2e/**"],
          // No test mocks a module, so files can share a process: that halves the time of the whole run.
          isolate: false,
          testTimeout: 15_000,
        },
      },
      {
        // Needs root: one file after another, since they share the host's namespaces and mounts.
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
