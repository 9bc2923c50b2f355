/** What the doctor has found. */
export type Finding = {
  readonly severity: 'error' | 'warning';
  /** `vault v1`, `item web`, `job …`. */
  readonly where: string;
  readonly what: string;
  readonly advice: string;
};
