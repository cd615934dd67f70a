package hardline.mobile;

/** How long to wait before the program is started again: longer each time, until it has run for a while. */
final class Backoff {
    /** The first wait, in milliseconds. */
    static final long FIRST = 1_000;
    /** The longest wait, in milliseconds. */
    static final long LONGEST = 300_000;
    /** Who ran this long, in milliseconds, is taken to be well again. */
    static final long WELL_AFTER = 600_000;

    private long next = FIRST;

    /** The wait in milliseconds after a run that took so many. */
    long afterRunOf(long milliseconds) {
        if (milliseconds >= WELL_AFTER) {
            next = FIRST;
        }
        long wait = next;
        next = Math.min(next * 2, LONGEST);
        return wait;
    }
}
