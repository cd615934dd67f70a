package hardline.mobile;

/** How the program is, and the sentence of the notification for it. */
final class State {
    static final int STOPPED = 0;
    static final int STARTING = 1;
    static final int RUNNING = 2;
    static final int WAITING = 3;

    final int phase;
    /** Services that are connected now. */
    final int services;
    final int tunnels;
    /** Whether it listens to the local networks, which takes the multicast lock. */
    final boolean isSearching;
    /** What the program said last was wrong, or nothing. */
    final String message;

    State(int phase, int services, int tunnels, boolean isSearching, String message) {
        this.phase = phase;
        this.services = services;
        this.tunnels = tunnels;
        this.isSearching = isSearching;
        this.message = message;
    }

    static State stopped() {
        return new State(STOPPED, 0, 0, false, "");
    }

    static State starting() {
        return new State(STARTING, 0, 0, false, "");
    }

    /** The program has ended by itself, and is started again after so many milliseconds. */
    State ended(int status, long wait) {
        String why = message.isEmpty() ? "exit code " + status : message;
        return new State(WAITING, 0, 0, false, why + "; starts again in " + Math.max(wait / 1_000, 1) + " s");
    }

    String sentence() {
        switch (phase) {
            case STOPPED: return "Stopped";
            case STARTING: return "Starting";
            case WAITING: return "Hardline ended: " + message;
            default: return "Running, " + open();
        }
    }

    private String open() {
        if (services == 0) {
            return "no service open";
        }
        String open = services == 1 ? "1 service open" : services + " services open";
        return tunnels == 0 ? open : open + ", " + (tunnels == 1 ? "1 connection" : tunnels + " connections");
    }
}
