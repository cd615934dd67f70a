package hardline.mobile;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Links to services, as other apps hand them over. */
final class Links {
    /** The gateway's own page. */
    static final String HOME = "http://localhost:7009/";
    /** What is shared is read so far, in characters. */
    private static final int LONGEST = 8_192;
    private static final Pattern LINK =
            Pattern.compile("http://(?:[a-z0-9-]{1,200}\\.){0,4}localhost:7009(?![0-9])(?:[/?#][^\\s<>\"]*)?", Pattern.CASE_INSENSITIVE);

    private Links() {}

    /** The first link to a service in a text, or null. */
    static String in(String text) {
        if (text == null) {
            return null;
        }
        Matcher matcher = LINK.matcher(text.substring(0, Math.min(text.length(), LONGEST)));
        return matcher.find() ? matcher.group() : null;
    }

    /** Whether the whole address is one of the gateway's: nothing else is shown inside the app. */
    static boolean isOurs(String address) {
        return address != null && address.length() <= LONGEST && LINK.matcher(address).matches();
    }
}
