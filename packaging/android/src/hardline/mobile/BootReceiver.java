package hardline.mobile;

import android.content.BroadcastReceiver;
import android.content.ComponentName;
import android.content.Context;
import android.content.Intent;
import android.content.pm.PackageManager;

/** Starts Hardline with the phone. Off until its user chooses so: whether it is on is the choice itself. */
public final class BootReceiver extends BroadcastReceiver {
    @Override
    public void onReceive(Context context, Intent intent) {
        if (Intent.ACTION_BOOT_COMPLETED.equals(intent.getAction())) {
            context.startForegroundService(new Intent(context, RunService.class));
        }
    }

    static boolean isChosen(Context context) {
        int state = context.getPackageManager().getComponentEnabledSetting(new ComponentName(context, BootReceiver.class));
        return state == PackageManager.COMPONENT_ENABLED_STATE_ENABLED;
    }

    static void choose(Context context, boolean on) {
        int state = on ? PackageManager.COMPONENT_ENABLED_STATE_ENABLED : PackageManager.COMPONENT_ENABLED_STATE_DISABLED;
        ComponentName self = new ComponentName(context, BootReceiver.class);
        context.getPackageManager().setComponentEnabledSetting(self, state, PackageManager.DONT_KILL_APP);
    }
}
