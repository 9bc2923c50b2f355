/** Notices (plan-notices.ts) as one mail. */
import type { Notice } from './plan-notices.ts';

const SUBJECTS: Readonly<Record<Notice['about'], string>> = {
  deleted: 'backup data was deleted, and can be undeleted',
  soon: 'deleted backup data goes for good soon',
  gone: 'deleted backup data has gone',
};
const ORDER = ['soon', 'deleted', 'gone'] as const;

export function mailText(notices: readonly Notice[]): {
  readonly subject: string;
  readonly text: string;
} {
  const told = ORDER.filter((about) => notices.some((notice) => notice.about === about));
  const parts = told.map((about) => {
    const lines = notices.filter((notice) => notice.about === about).map(lineOf);
    return [`${capitalized(SUBJECTS[about])}:`, ...lines].join('\n');
  });
  const [first] = notices;
  const of = notices.length === 1 ? first!.of.what : `${notices.length} of them`;
  const subject = told.map((about) => SUBJECTS[about]).join('; ');
  return { subject: `Holdfast: ${subject} (${of})`, text: `${parts.join('\n\n')}\n` };
}

function lineOf({ about, of }: Notice): string {
  const [since, until] = [of.deletedAt, of.purgeAt].map((ms) => new Date(ms).toISOString());
  if (about === 'gone') return `  ${of.what}: deleted ${since}, gone since ${until}`;
  const back = of.id === of.vaultId ? 'holdfast vault undelete' : 'holdfast undelete';
  return `  ${of.what}: deleted ${since}, goes ${until}; until then "${back}" brings it back`;
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
