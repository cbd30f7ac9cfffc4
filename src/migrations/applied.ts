/** What a migration did. */
export interface Applied {
  /** Names of the migrations that were run now. */
  applied: string[];
  /** Names of migrations whose tables were there already (made by drizzle-kit) and were only recorded. */
  adopted: string[];
}
