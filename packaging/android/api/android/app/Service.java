package android.app;

public abstract class Service extends android.content.ContextWrapper {
    public static final int START_STICKY = 1;
    public static final int START_NOT_STICKY = 2;
    public abstract android.os.IBinder onBind(android.content.Intent intent);
    public void onCreate() { throw new RuntimeException(); }
    public int onStartCommand(android.content.Intent intent, int flags, int id) { throw new RuntimeException(); }
    public void onDestroy() { throw new RuntimeException(); }
    public final void stopSelf() { throw new RuntimeException(); }
    public final void startForeground(int id, Notification notification) { throw new RuntimeException(); }
}
