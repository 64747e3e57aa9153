/** Sizes for people, in the units in which claims ask for them. */

const units = ["", "Ki", "Mi", "Gi", "Ti", "Pi"] as const;

/** `10Gi`, `1.5Mi`, `512`; `-` for nothing known. Rounded to a tenth. */
export function formatBytes(bytes: number | undefined): string {
  if (bytes === undefined) return "-";
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const rounded = Math.round(value * 10) / 10;
  return `${rounded}${units[unit]}`;
}
