/**
 * The rules shown so far, by id (`R12`), with the tests through the API that show them, and those that are not shown
 * yet; `test/ids.test.ts` compares.
 */

/** One test of each must have passed. */
export const RULES: Readonly<Record<string, readonly RegExp[]>> = {
  R1: [
    /a subscription has the vaults/,
    /a vault has the policies that the settings allow, in Azure 200, changed 50 times a day/,
    /as many VMs as the settings allow, in Azure 1 000, and knows 2 000/,
    /protection is changed as often a day/,
    /a policy has the VMs/,
  ],
  R4: [/daily points are kept 7 to 9999 days, weekly ones 1 to 5163 weeks/],
  R6: [/at least the cores and the memory of the settings/],
  R7: [/a new vault has DefaultPolicy/, /a policy edit changes all its VMs/],
  R8: [
    /runs once a day or on some weekdays, on a half hour/,
    /a run is at its time on the wall/,
    /policies of every kind come back as they were put/,
  ],
  R9: [/runs every 4, 6, 8 or 12 hours in a window/],
  R10: [/only the last point of a day is tagged/, /where the last backup of an hourly day fails/],
  R11: [/right across the change of the clock; with dstFollowsAzure they stay/],
  R12: [/start spread over the two hours/],
  R13: [/an enhanced policy never becomes a standard one/],
  R14: [/the quota a day of the settings, in Azure 9/],
  R15: [/retention goes with its schedule/],
  R16: [/dates are 1 to 28 or the last/, /last days and last weekdays of months are tagged/],
  R17: [
    /kept by the longest/,
    /in leap years the 29th of February/,
    /across both changes of the clock in four time zones/,
  ],
  R18: [/the next backup that succeeds is the weekly one/],
  R19: [/the others go after the instant-restore days/],
  R20: [/an on-demand point has no tag and the date that was asked for/],
  R21: [/Azure’s API changes no point/],
  R22: [
    /does to each point what its preview said; raised again, all are back/,
    /without soft delete a shortened policy removes points/,
    /a switch from daily to weekly, and back/,
    /weekly points keep the date they had/,
  ],
  R23: [/a class that is added gives the points before nothing/],
  R24: [
    /raised again, all are back/,
    /after the days of soft delete the points go/,
    /is restored while it is soft-deleted, for the days of the vault/,
  ],
  R25: [
    /edited to keep points longer or at other times, never shorter/,
    /gets no policy that keeps its points or a class of them less long/,
    /longer retention is refused for a VM whose backups are suspended/,
  ],
  R26: [/a change of 1 KB stores one block/, /only the first backup is full/],
  R27: [/D1\+D2, then D3, then D2′\+D3′/, /each point is charged for the blocks it brought/],
  R28: [/case 1, both readings/, /case 2, both readings/, /case 3: a point on demand for 10 days/],
  R29: [/every point restores by itself, whatever expired before it/],
  R30: [/the next one is an increment of the last that succeeded/],
  R31: [
    /points go within a day of their date/,
    /stopped for ever nothing is backed up and nothing goes/,
    /only resuming lets it go/,
  ],
  R32: [/the newest stays until the next backup has succeeded/],
  R40: [/two tasks of the job/, /cancelled in its transfer/, /with cancelOnlyInSnapshot/],
  R41: [/refused while another takes its snapshot, and waits while it is in its transfer/],
  R42: [/24 hours fails with a clear timeout/, /one with a disk that was added/],
  R43: [/tells its disks and until when its point is kept, and is remembered for six months/],
  R44: [
    /above 90 % of CPU or memory in the guest the snapshot waits, and fails when its time is up/,
    /holds no place that others want, and is cancelled at once/,
    /nothing waits unless it is set, nor where the load is not known/,
    /no member of a group is frozen before all of them are below the limit/,
    /a guest that is really busy is waited for/,
  ],
  R45: [/what cannot be cancelled says why/],
  R53: [/pending until its first backup/, /stopping with data retained ends backups/],
  R54: [/stopped for ever/, /the last one stays for ever/],
  R55: [/raises its pre-check only where somebody asked; its points age, the last stays/],
  R56: [/comes back under its name, in any case/, /one of its name takes its points over/],
  R57: [/full by hand too/],
  R58: [
    /as was said when the data was deleted/,
    /preview of stop with delete names every point/,
    /mails tell of deleted data on the day, two days before it goes/,
  ],
  R59: [/only resuming lets it go/, /is protected in another vault/],
  R60: [/its vault is deleted then, its name is free again, and it comes back until its days/],
  R61: [/46 are charged and 6 are free/],
  R62: [
    /enabled and disabled at will, locked only where it is enabled/,
    /data is not deleted while a point of it is to be kept/,
    /no point is deleted by hand before its date, or unpinned/,
  ],
  R70: [/disks are restored to a storage account under their names/],
  R75: [/charges begin with the first successful backup/],
  R76: [/17 \+ 30 \+ 0 = 47/, /one unit up to 500 GB, then one for each 500 GB begun/],
  R77: [/17 \+ 30 \+ 0 = 47/, /half of the disks’ size, is a setting/],
  R78: [/the system disk alone is the size where it alone is backed up/],
  R79: [/no snapshot tier is kept, and none is charged for/],
};

/** What is asked and not there. */
export const NOT_YET: Readonly<Record<string, string>> = {};

/** Of promises and rules that are shown, parts that are not there. */
export const PARTS_NOT_YET: Readonly<Record<string, string>> = {
  R53: 'ProtectionError, ProtectionPaused and Invalid are states that no VM here is in.',
  R60: 'Snapshots that their owner could remove earlier: there is no snapshot tier.',
  R62: 'WORM storage: the service refuses, but who has the repository can delete it.',
  R79: 'Snapshots are not charged for, as there is no snapshot tier.',
};

/** Rules that tests may name although nothing asks for them yet. */
export const OTHER_RULES: readonly string[] = ['R33', 'R73'];
