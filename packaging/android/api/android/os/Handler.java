package android.os;

public class Handler {
    public Handler(Looper looper) { throw new RuntimeException(); }
    public final boolean post(Runnable what) { throw new RuntimeException(); }
    public final boolean postDelayed(Runnable what, long milliseconds) { throw new RuntimeException(); }
    public final void removeCallbacks(Runnable what) { throw new RuntimeException(); }
}
