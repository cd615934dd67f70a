package android.app;

public class Notification {
    public static class Builder {
        public Builder(android.content.Context context, String channel) { throw new RuntimeException(); }
        public Builder setSmallIcon(int icon) { throw new RuntimeException(); }
        public Builder setContentTitle(CharSequence text) { throw new RuntimeException(); }
        public Builder setContentText(CharSequence text) { throw new RuntimeException(); }
        public Builder setContentIntent(PendingIntent intent) { throw new RuntimeException(); }
        public Builder setOngoing(boolean on) { throw new RuntimeException(); }
        public Builder addAction(Action action) { throw new RuntimeException(); }
        public Notification build() { throw new RuntimeException(); }
    }

    public static class Action {
        public static final class Builder {
            public Builder(android.graphics.drawable.Icon icon, CharSequence title, PendingIntent intent) { throw new RuntimeException(); }
            public Action build() { throw new RuntimeException(); }
        }
    }
}
