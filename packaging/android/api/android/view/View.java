package android.view;

public class View {
    public void setFitsSystemWindows(boolean on) { throw new RuntimeException(); }
}
