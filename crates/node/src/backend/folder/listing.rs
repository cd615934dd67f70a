//! What is in a folder → a page.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::path::{SharedPath, encode, url};
use super::root::{Entry, Listing, MAX_ENTRIES};
use crate::page;

/// Lays out the folder at `path` of the share called `share`.
pub(super) fn page(share: &str, path: &SharedPath, listing: &Listing) -> Markup {
    let title = path.names.last().map_or_else(|| share.into(), |name| name.to_string_lossy());
    let body = html! {
        (icons())
        (breadcrumb(share, path))
        @if listing.entries.is_empty() {
            p.muted { "This folder is empty." }
        } @else {
            table.files {
                thead { tr { th { "Name" } th.number { "Size" } th.date.wide { "Changed" } } }
                tbody { @for entry in &listing.entries { (row(entry)) } }
            }
        }
        @if listing.left_out > 0 {
            p.notice { "The first " (MAX_ENTRIES) " entries are shown, " (listing.left_out) " more are not." }
        }
        @if !listing.entries.is_empty() {
            footer { (summary(listing)) span.wide { " · Times are those of the computer that shares this folder." } }
        }
    };
    page::page(&title, &body)
}

fn breadcrumb(share: &str, path: &SharedPath) -> Markup {
    html! {
        h1.path {
            @match path.names.split_last() {
                None => { bdi { (share) } }
                Some((last, above)) => {
                    a href="/" { bdi { (share) } } " "
                    @for (depth, name) in above.iter().enumerate() {
                        i { "/" } " " a href={ (url(&path.names[..=depth])) "/" } { bdi { (name.to_string_lossy()) } } " "
                    }
                    i { "/" } " " bdi { (last.to_string_lossy()) }
                }
            }
        }
    }
}

fn row(entry: &Entry) -> Markup {
    let (icon, slash) = if entry.is_folder { ("#folder", "/") } else { ("#file", "") };
    html! {
        tr {
            td { a.entry href={ (encode(&entry.name)) (slash) } {
                svg.icon aria-hidden="true" { use href=(icon); }
                bdi { (entry.name.to_string_lossy()) }
            } }
            td.number.muted { @if !entry.is_folder { (size(entry.size)) } }
            td.date.wide.muted { @if let Some(changed) = entry.changed { (time(changed)) } }
        }
    }
}

fn icons() -> Markup {
    html! {
        svg width="0" height="0" aria-hidden="true" style="position:absolute" {
            symbol id="folder" viewBox="0 0 16 16" {
                path d="M1.5 3.5a1 1 0 0 1 1-1h3.6l1.5 1.8h5.9a1 1 0 0 1 1 1v7.2a1 1 0 0 1-1 1h-11a1 1 0 0 1-1-1z" {}
            }
            symbol id="file" viewBox="0 0 16 16" {
                path d="M3.5 1.5h5.6l3.4 3.4v9.1a.5.5 0 0 1-.5.5h-8.5a.5.5 0 0 1-.5-.5v-12a.5.5 0 0 1 .5-.5z" {}
                path d="M9 1.7v3.4h3.4" {}
            }
        }
    }
}

/// `2 folders, 1 file`.
fn summary(listing: &Listing) -> String {
    let count = |is_folder| listing.entries.iter().filter(|entry| entry.is_folder == is_folder).count();
    let words = |count, word| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{count} {word}s")),
    };
    [words(count(true), "folder"), words(count(false), "file")].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A size for people, with decimal units as file managers show them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would be written as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

fn time(at: SystemTime) -> Markup {
    let Ok(at) = Timestamp::try_from(at) else { return html! {} };
    let local = at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string();
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) { (local) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_for_people() {
        check(0, "0 B");
        check(999, "999 B");
        check(1000, "1.0 kB");
        check(1_449, "1.4 kB");
        check(999_949, "999.9 kB");
        check(999_950, "1.0 MB");
        check(1 << 30, "1.1 GB");
        check(u64::MAX, "18.4 EB");
    }

    #[track_caller]
    fn check(bytes: u64, expected: &str) {
        assert_eq!(size(bytes), expected);
    }
}
