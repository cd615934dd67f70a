package android.app;

public final class PendingIntent {
    public static final int FLAG_IMMUTABLE = 67108864;
    public static PendingIntent getActivity(android.content.Context context, int code, android.content.Intent intent, int flags) { throw new RuntimeException(); }
    public static PendingIntent getService(android.content.Context context, int code, android.content.Intent intent, int flags) { throw new RuntimeException(); }
}
