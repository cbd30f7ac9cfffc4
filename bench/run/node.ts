/** The oldest Node that every peer supports. On Linux, npm scripts of this folder run on one that it has from npm. */
const OLDEST = [22, 18] as const;

export function newEnough(version = process.versions.node): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

export const OLDEST_NODE = OLDEST.join('.');
