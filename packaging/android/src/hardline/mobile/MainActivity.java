package hardline.mobile;

import android.app.Activity;
import android.content.ActivityNotFoundException;
import android.content.Intent;
import android.net.Uri;
import android.os.Build;
import android.os.Bundle;
import android.os.PowerManager;
import android.provider.Settings;
import android.view.Menu;
import android.view.MenuItem;
import android.webkit.DownloadListener;
import android.webkit.WebResourceRequest;
import android.webkit.WebView;
import android.webkit.WebViewClient;
import android.widget.FrameLayout;
import android.widget.Toast;
import android.window.OnBackInvokedCallback;
import android.window.OnBackInvokedDispatcher;

/** Shows the gateway's pages, takes links of other apps, and has the few choices there are. */
public final class MainActivity extends Activity {
    private static final int IN_BROWSER = 1;
    private static final int AT_BOOT = 2;
    private static final int BATTERY = 3;
    private static final int STOP = 4;

    private WebView page;
    /** What is shown once the program answers, or null when it is shown already. */
    private String wanted;
    private final Runnable stateChanged = new Runnable() {
        @Override
        public void run() {
            showState();
        }
    };

    @Override
    protected void onCreate(Bundle saved) {
        super.onCreate(saved);
        page = newPage();
        // From Android 15 on, apps draw below the bars of the system, and a WebView has no margins.
        FrameLayout frame = new FrameLayout(this);
        frame.setFitsSystemWindows(true);
        frame.addView(page);
        setContentView(frame);
        if (Build.VERSION.SDK_INT >= 33) {
            requestPermissions(new String[] {"android.permission.POST_NOTIFICATIONS"}, 0);
            listenForBack();
        }
        RunService.watcher = stateChanged;
        take(getIntent());
    }

    private WebView newPage() {
        WebView view = new WebView(this);
        view.getSettings().setJavaScriptEnabled(true);
        view.getSettings().setDomStorageEnabled(true);
        view.getSettings().setAllowFileAccess(false);
        view.getSettings().setAllowContentAccess(false);
        view.setWebViewClient(new WebViewClient() {
            @Override
            public boolean shouldOverrideUrlLoading(WebView view, WebResourceRequest request) {
                String address = request.getUrl().toString();
                if (Links.isOurs(address) || !request.isForMainFrame()) {
                    return false;
                }
                openInBrowser(address);
                return true;
            }
        });
        view.setDownloadListener(new DownloadListener() {
            @Override
            public void onDownloadStart(String url, String agent, String disposition, String type, long length) {
                openInBrowser(url);
            }
        });
        return view;
    }

    /** What Android 16 calls in place of {@link #onBackPressed}. */
    private void listenForBack() {
        getOnBackInvokedDispatcher().registerOnBackInvokedCallback(OnBackInvokedDispatcher.PRIORITY_DEFAULT, new OnBackInvokedCallback() {
            @Override
            public void onBackInvoked() {
                onBackPressed();
            }
        });
    }

    @Override
    protected void onNewIntent(Intent intent) {
        super.onNewIntent(intent);
        take(intent);
    }

    @Override
    protected void onDestroy() {
        if (RunService.watcher == stateChanged) {
            RunService.watcher = null;
        }
        page.destroy();
        super.onDestroy();
    }

    private void take(Intent intent) {
        boolean isShared = Intent.ACTION_SEND.equals(intent.getAction());
        String link = Links.in(isShared ? intent.getStringExtra(Intent.EXTRA_TEXT) : intent.getDataString());
        if (isShared && link == null) {
            say("No link to a service in it");
        }
        if (link != null) {
            wanted = link;
        } else if (wanted == null && page.getUrl() == null) {
            wanted = Links.HOME;
        }
        startForegroundService(new Intent(this, RunService.class));
        showState();
    }

    private void showState() {
        boolean isRunning = RunService.state.phase == State.RUNNING;
        setTitle(isRunning ? "Hardline" : RunService.state.sentence());
        if (isRunning && wanted != null) {
            page.loadUrl(wanted);
            wanted = null;
        }
    }

    @Override
    public void onBackPressed() {
        if (page.canGoBack()) {
            page.goBack();
        } else {
            finish();
        }
    }

    @Override
    public boolean onCreateOptionsMenu(Menu menu) {
        menu.add(0, IN_BROWSER, 0, "Open in browser").setShowAsAction(MenuItem.SHOW_AS_ACTION_IF_ROOM);
        menu.add(0, AT_BOOT, 0, "Start with the phone").setCheckable(true).setChecked(BootReceiver.isChosen(this));
        menu.add(0, BATTERY, 0, "Battery: let Hardline run");
        menu.add(0, STOP, 0, "Stop");
        return true;
    }

    @Override
    public boolean onOptionsItemSelected(MenuItem item) {
        switch (item.getItemId()) {
            case IN_BROWSER:
                String shown = page.getUrl();
                openInBrowser(Links.isOurs(shown) ? shown : Links.HOME);
                return true;
            case AT_BOOT:
                startWithPhone(!item.isChecked());
                item.setChecked(!item.isChecked());
                return true;
            case BATTERY:
                startOrSay(new Intent(Settings.ACTION_IGNORE_BATTERY_OPTIMIZATION_SETTINGS));
                return true;
            case STOP:
                stopService(new Intent(this, RunService.class));
                finish();
                return true;
            default:
                return super.onOptionsItemSelected(item);
        }
    }

    private void startWithPhone(boolean on) {
        BootReceiver.choose(this, on);
        if (on && !getSystemService(PowerManager.class).isIgnoringBatteryOptimizations(getPackageName())) {
            say("If the phone stops Hardline to save its battery, allow it to run: \u201cBattery\u201d in this menu");
        }
    }

    /** In a browser also where this app is the one for such links: whoever opens web pages is asked. */
    private void openInBrowser(String address) {
        Uri uri = Uri.parse(address);
        if (!"http".equals(uri.getScheme()) && !"https".equals(uri.getScheme())) {
            return;
        }
        Intent browser = new Intent(Intent.ACTION_VIEW, Uri.parse("https://")).addCategory(Intent.CATEGORY_BROWSABLE);
        Intent view = new Intent(Intent.ACTION_VIEW, uri).addCategory(Intent.CATEGORY_BROWSABLE);
        view.setSelector(browser);
        startOrSay(view);
    }

    private void startOrSay(Intent intent) {
        try {
            startActivity(intent);
        } catch (ActivityNotFoundException nobody) {
            say("No app for that here");
        }
    }

    private void say(String text) {
        Toast.makeText(this, text, Toast.LENGTH_LONG).show();
    }
}
