package android.os;

public class Build {
    public static class VERSION {
        // Not a constant: it is the phone's, not this one's.
        public static final int SDK_INT = Integer.parseInt("0");
    }
}
