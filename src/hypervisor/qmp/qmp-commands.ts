/**
 * The QMP commands that Holdfast uses, with as much of their arguments and answers as it uses. Names and
 * shapes are QEMU's (docs: "QEMU QMP Reference Manual"); a member that is not always there is optional.
 */

/** What QEMU takes for a node: options of its driver, files below it by name or in place. */
type BlockdevOptions = { readonly [option: string]: BlockdevValue };
type BlockdevValue = string | number | boolean | null | BlockdevOptions;

export type QmpBitmap = {
  readonly name?: string;
  readonly granularity: number;
  readonly count: number;
  readonly recording: boolean;
  readonly busy: boolean;
  readonly persistent: boolean;
  readonly inconsistent?: boolean;
};

type QmpImage = {
  readonly filename: string;
  readonly format: string;
  readonly 'virtual-size': number;
  readonly 'backing-filename'?: string;
  readonly 'backing-filename-format'?: string;
  readonly 'backing-image'?: QmpImage;
  readonly 'format-specific'?: {
    readonly data?: { readonly bitmaps?: readonly { readonly name: string }[] };
  };
  readonly snapshots?: readonly {
    readonly id: string;
    readonly name: string;
    readonly 'date-sec': number;
    readonly 'date-nsec': number;
  }[];
};

export type QmpNode = {
  readonly 'node-name'?: string;
  readonly drv: string;
  readonly file: string;
  readonly ro: boolean;
  readonly image: QmpImage;
  readonly 'dirty-bitmaps'?: readonly QmpBitmap[];
};

/** Of query-block: what a device of the guest, or a backend with a name, has in it. */
export type QmpBlock = {
  /** The name of the backend; empty with -blockdev. */
  readonly device: string;
  /** The QOM path of the guest's device, or its id. */
  readonly qdev?: string;
  readonly removable: boolean;
  readonly inserted?: QmpNode;
};

export type QmpBlockGraph = {
  readonly nodes: readonly { readonly id: number; readonly type: string; readonly name: string }[];
  readonly edges: readonly {
    readonly parent: number;
    readonly child: number;
    readonly name: string;
  }[];
};

export type QmpJob = {
  readonly id: string;
  readonly type: string;
  readonly status: string;
  readonly 'current-progress': number;
  readonly 'total-progress': number;
  /** Of one that is concluded, and failed. */
  readonly error?: string;
};

type QmpBitmapRef = { readonly node: string; readonly name: string };
type NewBitmap = QmpBitmapRef & {
  readonly persistent: boolean;
  readonly granularity: number;
  readonly disabled?: boolean;
};
type BitmapMerge = {
  readonly node: string;
  readonly target: string;
  readonly bitmaps: readonly string[];
};
type BackupJob = {
  readonly 'job-id': string;
  readonly device: string;
  readonly target: string;
  readonly 'auto-dismiss': boolean;
  readonly 'on-source-error'?: 'report';
  readonly 'on-target-error'?: 'report';
} & (
  | { readonly sync: 'none' | 'full' }
  | { readonly sync: 'bitmap'; readonly bitmap: string; readonly 'bitmap-mode': 'never' }
);

export type QmpAction =
  | { readonly type: 'blockdev-backup'; readonly data: BackupJob }
  | { readonly type: 'block-dirty-bitmap-add'; readonly data: NewBitmap }
  | { readonly type: 'block-dirty-bitmap-remove'; readonly data: QmpBitmapRef }
  | { readonly type: 'block-dirty-bitmap-enable'; readonly data: QmpBitmapRef }
  | { readonly type: 'block-dirty-bitmap-disable'; readonly data: QmpBitmapRef }
  | { readonly type: 'block-dirty-bitmap-merge'; readonly data: BitmapMerge };

type Nothing = undefined;
type Done = Readonly<Record<string, never>>;
type NodeName = { readonly 'node-name': string };

/** Command → [its arguments, its answer]. */
type Commands = {
  'block-dirty-bitmap-add': [NewBitmap, Done];
  'block-dirty-bitmap-remove': [QmpBitmapRef, Done];
  'block-dirty-bitmap-disable': [QmpBitmapRef, Done];
  'block-export-add': [
    {
      readonly type: 'nbd';
      readonly id: string;
      readonly 'node-name': string;
      readonly name: string;
      readonly writable: boolean;
      readonly bitmaps: readonly (string | QmpBitmapRef)[];
    },
    Done,
  ];
  'block-export-del': [{ readonly id: string; readonly mode: 'safe' | 'hard' }, Done];
  'block-job-cancel': [{ readonly device: string; readonly force: boolean }, Done];
  'block-stream': [
    {
      readonly 'job-id': string;
      readonly device: string;
      readonly speed: number;
      readonly 'auto-dismiss': boolean;
    },
    Done,
  ];
  'blockdev-add': [BlockdevOptions, Done];
  'blockdev-del': [NodeName, Done];
  cont: [Nothing, Done];
  'job-dismiss': [{ readonly id: string }, Done];
  'nbd-server-start': [
    {
      readonly addr: { readonly type: 'unix'; readonly data: { readonly path: string } };
    },
    Done,
  ];
  'nbd-server-stop': [Nothing, Done];
  qmp_capabilities: [Nothing, Done];
  'qom-get': [{ readonly path: string; readonly property: string }, unknown];
  'qom-list': [
    { readonly path: string },
    readonly { readonly name: string; readonly type: string }[],
  ];
  'qom-set': [{ readonly path: string; readonly property: string; readonly value: string }, Done];
  'query-block': [Nothing, readonly QmpBlock[]];
  'query-block-exports': [Nothing, readonly { readonly id: string; readonly type: string }[]];
  'query-cpus-fast': [Nothing, readonly object[]];
  'query-jobs': [Nothing, readonly QmpJob[]];
  'query-memory-size-summary': [
    Nothing,
    { readonly 'base-memory': number; readonly 'plugged-memory'?: number },
  ];
  'query-migrate': [Nothing, { readonly status?: string }];
  'query-name': [Nothing, { readonly name?: string }];
  'query-named-block-nodes': [{ readonly flat?: boolean }, readonly QmpNode[]];
  'query-status': [Nothing, { readonly status: string; readonly running: boolean }];
  'query-tpm': [
    Nothing,
    readonly {
      readonly id: string;
      readonly options: { readonly type: string; readonly data: { readonly chardev?: string } };
    }[],
  ];
  'query-uuid': [Nothing, { readonly UUID: string }];
  'query-version': [Nothing, { readonly qemu: { readonly major: number; readonly minor: number } }];
  quit: [Nothing, Done];
  stop: [Nothing, Done];
  transaction: [{ readonly actions: readonly QmpAction[] }, Done];
  'x-debug-query-block-graph': [Nothing, QmpBlockGraph];
};

export type QmpCommand = keyof Commands;
export type QmpArguments<Command extends QmpCommand> = Commands[Command][0] extends undefined
  ? []
  : [Commands[Command][0]];
export type QmpReturn<Command extends QmpCommand> = Commands[Command][1];
