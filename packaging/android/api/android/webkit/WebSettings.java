package android.webkit;

public abstract class WebSettings {
    public abstract void setJavaScriptEnabled(boolean on);
    public abstract void setDomStorageEnabled(boolean on);
    public abstract void setAllowFileAccess(boolean on);
    public abstract void setAllowContentAccess(boolean on);
}
