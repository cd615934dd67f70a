package android.webkit;

public class WebView extends android.widget.AbsoluteLayout {
    public WebView(android.content.Context context) { throw new RuntimeException(); }
    public WebSettings getSettings() { throw new RuntimeException(); }
    public void setWebViewClient(WebViewClient client) { throw new RuntimeException(); }
    public void setDownloadListener(DownloadListener listener) { throw new RuntimeException(); }
    public void loadUrl(String url) { throw new RuntimeException(); }
    public String getUrl() { throw new RuntimeException(); }
    public boolean canGoBack() { throw new RuntimeException(); }
    public void goBack() { throw new RuntimeException(); }
    public void destroy() { throw new RuntimeException(); }
}
