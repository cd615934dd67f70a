package android.content;

public class Intent {
    public static final String ACTION_BOOT_COMPLETED = "android.intent.action.BOOT_COMPLETED";
    public static final String ACTION_SEND = "android.intent.action.SEND";
    public static final String ACTION_VIEW = "android.intent.action.VIEW";
    public static final String ACTION_SCREEN_ON = "android.intent.action.SCREEN_ON";
    public static final String ACTION_SCREEN_OFF = "android.intent.action.SCREEN_OFF";
    public static final String CATEGORY_BROWSABLE = "android.intent.category.BROWSABLE";
    public static final String EXTRA_TEXT = "android.intent.extra.TEXT";
    public Intent(String action) { throw new RuntimeException(); }
    public Intent(String action, android.net.Uri uri) { throw new RuntimeException(); }
    public Intent(Context context, Class<?> type) { throw new RuntimeException(); }
    public String getAction() { throw new RuntimeException(); }
    public String getDataString() { throw new RuntimeException(); }
    public String getStringExtra(String name) { throw new RuntimeException(); }
    public Intent setAction(String action) { throw new RuntimeException(); }
    public Intent addCategory(String category) { throw new RuntimeException(); }
    public void setSelector(Intent selector) { throw new RuntimeException(); }
}
