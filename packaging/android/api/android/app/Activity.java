package android.app;

public class Activity extends android.view.ContextThemeWrapper {
    protected void onCreate(android.os.Bundle saved) { throw new RuntimeException(); }
    protected void onNewIntent(android.content.Intent intent) { throw new RuntimeException(); }
    protected void onDestroy() { throw new RuntimeException(); }
    public void onBackPressed() { throw new RuntimeException(); }
    public boolean onCreateOptionsMenu(android.view.Menu menu) { throw new RuntimeException(); }
    public boolean onOptionsItemSelected(android.view.MenuItem item) { throw new RuntimeException(); }
    public android.content.Intent getIntent() { throw new RuntimeException(); }
    public void setContentView(android.view.View view) { throw new RuntimeException(); }
    public final void requestPermissions(String[] permissions, int code) { throw new RuntimeException(); }
    public void setTitle(CharSequence title) { throw new RuntimeException(); }
    public android.window.OnBackInvokedDispatcher getOnBackInvokedDispatcher() { throw new RuntimeException(); }
    public void finish() { throw new RuntimeException(); }
}
