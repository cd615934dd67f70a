package hardline.mobile;

import android.app.Notification;
import android.app.NotificationChannel;
import android.app.NotificationManager;
import android.app.PendingIntent;
import android.app.Service;
import android.content.BroadcastReceiver;
import android.content.Context;
import android.content.Intent;
import android.content.IntentFilter;
import android.net.ConnectivityManager;
import android.net.wifi.WifiManager;
import android.os.Handler;
import android.os.IBinder;
import android.os.Looper;
import android.os.PowerManager;
import java.io.File;
import java.io.IOException;

/** Runs the program, tells it what Android tells, and shows in a notification how it is. All on the main thread. */
public final class RunService extends Service implements Child.Listener {
    /** How the program is. */
    static State state = State.stopped();
    /** Is told when that has changed: the screen, while there is one. */
    static Runnable watcher;

    private static final String STOP = "hardline.mobile.STOP";
    private static final String CHANNEL = "running";
    private static final int NOTIFICATION = 1;
    /** While the screen is on, the program is asked for its status so often, in milliseconds. */
    private static final long ASK_EVERY = 10_000;

    private final Handler handler = new Handler(Looper.getMainLooper());
    private final Backoff backoff = new Backoff();
    private Child child;
    private boolean isGone;
    private NetworkWatch watch;
    private WifiManager.MulticastLock multicast;
    private String networksTold;
    private String resolversTold;

    private final Runnable start = new Runnable() {
        @Override
        public void run() {
            startChild();
        }
    };
    private final Runnable ask = new Runnable() {
        @Override
        public void run() {
            askStatus();
        }
    };
    private final BroadcastReceiver power = new BroadcastReceiver() {
        @Override
        public void onReceive(Context context, Intent intent) {
            powerChanged();
        }
    };

    @Override
    public IBinder onBind(Intent intent) {
        return null;
    }

    @Override
    public void onCreate() {
        NotificationChannel channel = new NotificationChannel(CHANNEL, "Running", NotificationManager.IMPORTANCE_LOW);
        getSystemService(NotificationManager.class).createNotificationChannel(channel);
        try {
            startForeground(NOTIFICATION, notification());
        } catch (IllegalStateException refused) {
            // Android 12 and later may refuse one that the system starts again while nobody looks.
            stopSelf();
            return;
        }
        multicast = getSystemService(WifiManager.class).createMulticastLock("hardline");
        multicast.setReferenceCounted(false);
        watch = new NetworkWatch(getSystemService(ConnectivityManager.class), new Runnable() {
            @Override
            public void run() {
                tellNetworks();
            }
        });
        IntentFilter filter = new IntentFilter(PowerManager.ACTION_DEVICE_IDLE_MODE_CHANGED);
        filter.addAction(Intent.ACTION_SCREEN_ON);
        filter.addAction(Intent.ACTION_SCREEN_OFF);
        registerReceiver(power, filter);
        watch.start(handler);
        startChild();
    }

    @Override
    public int onStartCommand(Intent intent, int flags, int id) {
        if (intent != null && STOP.equals(intent.getAction())) {
            stopSelf();
            return START_NOT_STICKY;
        }
        return START_STICKY;
    }

    @Override
    public void onDestroy() {
        isGone = true;
        handler.removeCallbacks(start);
        handler.removeCallbacks(ask);
        if (watch != null) {
            watch.stop();
            unregisterReceiver(power);
        }
        if (child != null) {
            child.end();
        }
        become(State.stopped());
    }

    /** On the child's thread. */
    @Override
    public void line(Child from, final String line) {
        handler.post(new Runnable() {
            @Override
            public void run() {
                if (!isGone) {
                    become(Protocol.read(state, line));
                }
            }
        });
    }

    /** On the child's thread. */
    @Override
    public void ended(Child which, final int status, final long milliseconds) {
        handler.post(new Runnable() {
            @Override
            public void run() {
                if (!isGone) {
                    startAgainAfter(status, milliseconds);
                }
            }
        });
    }

    private void startChild() {
        // Never part of a backup, also not of one from phone to phone.
        File data = new File(getNoBackupFilesDir(), "hardline");
        become(State.starting());
        try {
            child = Child.start(getApplicationInfo().nativeLibraryDir + "/libhardline.so", data, this);
        } catch (IOException failed) {
            become(new State(State.STARTING, 0, 0, false, String.valueOf(failed.getMessage())));
            startAgainAfter(-1, 0);
            return;
        }
        networksTold = null;
        resolversTold = null;
        powerChanged();
    }

    private void startAgainAfter(int status, long milliseconds) {
        child = null;
        long wait = backoff.afterRunOf(milliseconds);
        handler.postDelayed(start, wait);
        become(state.ended(status, wait));
    }

    /** The notification is kept fresh for whoever may look at it, and for nobody else. */
    private void powerChanged() {
        PowerManager manager = getSystemService(PowerManager.class);
        handler.removeCallbacks(ask);
        if (manager.isInteractive()) {
            handler.postDelayed(ask, ASK_EVERY);
        }
        if (child != null) {
            child.send(Protocol.doze(manager.isDeviceIdleMode()));
            tellNetworks();
            child.send(Protocol.status());
        }
    }

    private void askStatus() {
        handler.postDelayed(ask, ASK_EVERY);
        if (child != null) {
            child.send(Protocol.status());
        }
    }

    private void tellNetworks() {
        if (child == null) {
            return;
        }
        String networks = Protocol.networks(watch.networks());
        String resolvers = Protocol.resolvers(watch.resolvers());
        if (!networks.equals(networksTold)) {
            child.send(networks);
            networksTold = networks;
        }
        if (!resolvers.equals(resolversTold)) {
            child.send(resolvers);
            resolversTold = resolvers;
        }
    }

    private void become(State next) {
        boolean isNews = !next.sentence().equals(state.sentence());
        state = next;
        holdMulticast(next.isSearching);
        if (!isNews) {
            return;
        }
        if (!isGone) {
            getSystemService(NotificationManager.class).notify(NOTIFICATION, notification());
        }
        if (watcher != null) {
            watcher.run();
        }
    }

    /** Without the lock the Wi-Fi drops what comes for a group; with it the radio sleeps less. */
    private void holdMulticast(boolean wanted) {
        if (multicast == null || multicast.isHeld() == wanted) {
            return;
        }
        if (wanted) {
            multicast.acquire();
        } else {
            multicast.release();
        }
    }

    private Notification notification() {
        Intent open = new Intent(this, MainActivity.class);
        Intent stop = new Intent(this, RunService.class).setAction(STOP);
        PendingIntent toOpen = PendingIntent.getActivity(this, 0, open, PendingIntent.FLAG_IMMUTABLE);
        PendingIntent toStop = PendingIntent.getService(this, 0, stop, PendingIntent.FLAG_IMMUTABLE);
        return new Notification.Builder(this, CHANNEL)
                .setSmallIcon(getApplicationInfo().icon)
                .setContentTitle("Hardline")
                .setContentText(state.sentence())
                .setContentIntent(toOpen)
                .setOngoing(true)
                .addAction(new Notification.Action.Builder(null, "Stop", toStop).build())
                .build();
    }
}
