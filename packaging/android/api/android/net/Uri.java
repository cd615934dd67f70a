package android.net;

public abstract class Uri {
    public static Uri parse(String text) { throw new RuntimeException(); }
    public abstract String getScheme();
    public abstract String toString();
}
