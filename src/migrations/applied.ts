/** The result of `migrate()`. */
export interface Applied {
  /** Names of the migrations that were run now. */
  applied: string[];
  /** Names of migrations that were only recorded, because their tables existed already (made by drizzle-kit). */
  adopted: string[];
}
