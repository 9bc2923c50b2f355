/** Options that several commands on VMs have. */

export type ConnectOptions = { readonly connect: string };

/** Of commands that bring a VM of a recovery point back. */
export type PointOptions = ConnectOptions & {
  readonly repo: string;
  /** Absent: the latest. */
  readonly point?: string;
  readonly dir?: string;
  readonly disk?: readonly string[];
  readonly sameIdentity?: boolean;
  readonly network?: readonly string[];
};
