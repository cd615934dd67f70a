package hardline.mobile;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** A run of the program: lines to it and from it. */
final class Child {
    /** Longest line that is read, in bytes; what is longer is dropped. */
    static final int LONGEST_LINE = 65_536;
    /** Most lines that wait for the program to read them. */
    static final int MAX_WAITING = 64;

    /** Who hears of a run. Called on its thread. */
    interface Listener {
        void line(Child child, String line);

        void ended(Child child, int status, long milliseconds);
    }

    private final Process process;
    private final Listener listener;
    /** Discards what is too much for a program that does not read, and what comes after its end. */
    private final ThreadPoolExecutor writer = new ThreadPoolExecutor(1, 1, 0, TimeUnit.SECONDS,
            new LinkedBlockingQueue<Runnable>(MAX_WAITING), new ThreadPoolExecutor.DiscardPolicy());
    private final long begun = System.nanoTime();

    private Child(Process process, Listener listener) {
        this.process = process;
        this.listener = listener;
    }

    /**
     * Starts the program, whose log goes nowhere.
     *
     * @throws IOException if it cannot be started
     */
    static Child start(String program, File data, Listener listener) throws IOException {
        ProcessBuilder builder = new ProcessBuilder(program, "--mobile", "--data-dir", data.getPath());
        builder.environment().clear();
        builder.redirectError(new File("/dev/null"));
        Child child = new Child(builder.start(), listener);
        new Thread(new Runnable() {
            @Override
            public void run() {
                child.follow();
            }
        }).start();
        return child;
    }

    /** Hands a line to the program, in the order of the calls and without waiting for it. */
    void send(String line) {
        writer.execute(new Runnable() {
            @Override
            public void run() {
                try {
                    OutputStream input = process.getOutputStream();
                    input.write((line + "\n").getBytes(StandardCharsets.UTF_8));
                    input.flush();
                } catch (IOException gone) {
                    // The end of the program is told by `ended`.
                }
            }
        });
    }

    /** Asks the program to end by the signal for that; its tunnels get two seconds. */
    void end() {
        process.destroy();
    }

    private void follow() {
        try {
            readLines(process.getInputStream());
        } catch (IOException closed) {
            // The same as its end.
        }
        int status = -1;
        try {
            status = process.waitFor();
        } catch (InterruptedException never) {
            process.destroy();
        }
        writer.shutdown();
        listener.ended(this, status, (System.nanoTime() - begun) / 1_000_000);
    }

    private void readLines(InputStream output) throws IOException {
        byte[] line = new byte[LONGEST_LINE];
        byte[] chunk = new byte[4_096];
        int length = 0;
        for (int count = output.read(chunk); count >= 0; count = output.read(chunk)) {
            for (int at = 0; at < count; at++) {
                if (chunk[at] == '\n') {
                    if (length <= LONGEST_LINE) {
                        listener.line(this, new String(line, 0, length, StandardCharsets.UTF_8));
                    }
                    length = 0;
                } else if (length < LONGEST_LINE) {
                    line[length++] = chunk[at];
                } else {
                    length = LONGEST_LINE + 1;
                }
            }
        }
    }
}
