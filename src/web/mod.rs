//! The SDK, the softphone page and the example: files of the binary itself, as a table.

/// A file that the gateway serves.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Where: an absolute path without query.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
    /// Strong entity tag with its quotes (RFC 9110 section 8.8.3): changes with the bytes, stays over restarts.
    pub etag: &'static str,
    policy: &'static str,
}

/// Everything from our own origin and nothing inline; connections go to the gateway alone.
macro_rules! policy {
    ($script:literal) => {
        concat!(
            "default-src 'none'; script-src 'self'",
            $script,
            "; style-src 'self'; img-src 'self'; connect-src 'self'; media-src 'self' blob:; ",
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    };
}

const PAGE: &str = policy!("");
/// The example keeps its script inline, as a reader wants it; its hash lets that one script run.
const EXAMPLE: &str = policy!(" 'sha256-LylSJXBvQmgnbX6Gj67m88YTkhnv6GYn3HP477QlYmY='");

macro_rules! asset {
    ($path:literal, $file:literal, $type:literal) => {
        asset!($path, $file, $type, PAGE)
    };
    ($path:literal, $file:literal, $type:literal, $policy:expr) => {{
        const BYTES: &[u8] = include_bytes!($file);
        const TAG: [u8; 18] = tag(BYTES);
        const ETAG: &str = match std::str::from_utf8(&TAG) {
            Ok(text) => text,
            Err(_) => panic!("a tag is ASCII"),
        };
        Asset { path: $path, content_type: $type, bytes: BYTES, etag: ETAG, policy: $policy }
    }};
}

/// All assets.
pub const ASSETS: &[Asset] = &[
    asset!("/", "index.html", "text/html; charset=utf-8"),
    asset!("/phone.css", "phone.css", "text/css; charset=utf-8"),
    asset!("/phone.js", "phone.js", "text/javascript; charset=utf-8"),
    asset!("/bridge.js", "bridge.js", "text/javascript; charset=utf-8"),
    asset!("/devices.js", "devices.js", "text/javascript; charset=utf-8"),
    asset!("/journal.js", "journal.js", "text/javascript; charset=utf-8"),
    asset!("/memory.js", "memory.js", "text/javascript; charset=utf-8"),
    asset!("/pad.js", "pad.js", "text/javascript; charset=utf-8"),
    asset!("/rows.js", "rows.js", "text/javascript; charset=utf-8"),
    asset!("/tones.js", "tones.js", "text/javascript; charset=utf-8"),
    asset!("/words.js", "words.js", "text/javascript; charset=utf-8"),
    asset!("/icon.svg", "icon.svg", "image/svg+xml"),
    // Browsers ask for it on pages that name no icon.
    asset!("/favicon.ico", "icon.svg", "image/svg+xml"),
    asset!("/example.html", "example.html", "text/html; charset=utf-8", EXAMPLE),
    asset!("/sdk/bridgehead.js", "sdk/bridgehead.js", "text/javascript; charset=utf-8"),
    asset!("/sdk/bridgehead.d.ts", "sdk/bridgehead.d.ts", "text/plain; charset=utf-8"),
    asset!("/sdk/package.json", "sdk/package.json", "application/json"),
];

/// The asset at `path` (without query).
pub fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

impl Asset {
    /// All header fields of a 200 or a 304 but `Content-Length`, `Date` and `Connection`.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        // Public text, imported by pages of other origins; who may then connect is another list (`http.origins`).
        let open = self.path.starts_with("/sdk/").then_some([
            ("Access-Control-Allow-Origin", "*"),
            ("Cross-Origin-Resource-Policy", "cross-origin"),
        ]);
        [
            ("Content-Type", self.content_type),
            ("ETag", self.etag),
            ("Cache-Control", "no-cache"),
            ("Content-Security-Policy", self.policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Permissions-Policy", "microphone=(self), camera=(), geolocation=()"),
        ]
        .into_iter()
        .chain(open.into_iter().flatten())
    }

    /// Whether `If-None-Match` names this version, so that 304 is the answer (RFC 9110 section 13.1.2).
    pub fn is_known(&self, if_none_match: &str) -> bool {
        if_none_match
            .split(',')
            .map(str::trim)
            .any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.etag)
    }
}

/// FNV-1a of the bytes, as 16 hexadecimal digits in quotes.
const fn tag(bytes: &[u8]) -> [u8; 18] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    let mut text = [b'"'; 18];
    let mut digit = 0;
    while digit < 16 {
        text[digit + 1] = b"0123456789abcdef"[(hash >> (60 - 4 * digit)) as usize & 15];
        digit += 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn text(path: &str) -> &'static str {
        std::str::from_utf8(asset(path).unwrap().bytes).unwrap()
    }

    /// The bodies of all scripts written into the page.
    fn inline_scripts(page: &str) -> Vec<&str> {
        page.split("<script")
            .skip(1)
            .filter_map(|rest| {
                let (_, body) = rest.split_once('>')?;
                body.split_once("</script>").map(|(script, _)| script)
            })
            .filter(|script| !script.trim().is_empty())
            .collect()
    }

    fn attributes(page: &str) -> impl Iterator<Item = &str> {
        page.split(['<', ' ', '\n']).filter_map(|word| word.split_once('=').map(|(name, _)| name))
    }

    #[test]
    fn the_page_has_nothing_inline() {
        let page = text("/");
        assert_eq!(inline_scripts(page), Vec::<&str>::new());
        assert!(!page.contains("<style"));
        for name in attributes(page) {
            assert!(!name.starts_with("on") && name != "style", "{name}");
        }
    }

    #[test]
    fn every_file_that_the_page_names_is_there() {
        let mut named = 0;
        for page in ["/", "/example.html", "/phone.js", "/devices.js"] {
            for quote in ['"', '\''] {
                for word in text(page).split(quote).filter(|word| {
                    word.starts_with('/')
                        && !word.starts_with("/v1/")
                        && word.contains('.')
                        && !word.contains(' ')
                }) {
                    assert!(asset(word).is_some(), "{page} names {word}");
                    named += 1;
                }
            }
        }
        assert!(named >= 6, "{named}");
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        for asset in ASSETS {
            let outside = asset.bytes.windows(8).position(|word| word == b"https://");
            assert_eq!(outside, None, "{} names another site", asset.path);
        }
    }

    #[test]
    fn the_policy_lets_the_script_of_the_example_run_and_no_other() {
        let scripts = inline_scripts(text("/example.html"));
        assert_eq!(scripts.len(), 1);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, scripts[0].as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(digest.as_ref());
        assert!(EXAMPLE.contains(&format!("'sha256-{hash}'")), "write 'sha256-{hash}' into EXAMPLE");
        assert!(!PAGE.contains("sha256-") && !PAGE.contains("unsafe"));
    }

    #[test]
    fn the_readme_shows_the_example_as_it_is_served() {
        let readme = include_str!("../../README.md");
        assert!(readme.contains(text("/example.html")), "copy src/web/example.html into README.md");
    }

    #[test]
    fn the_sdk_is_under_15_kb_compressed() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(asset("/sdk/bridgehead.js").unwrap().bytes).unwrap();
        let size = gzip.finish().unwrap().len();
        assert!(size < 15_000, "{size} bytes");
    }

    #[test]
    fn knows_its_own_tag_in_any_list() {
        let asset = asset("/phone.js").unwrap();
        assert_eq!(asset.etag.len(), 18);
        assert!(asset.is_known(asset.etag) && asset.is_known("*"));
        assert!(asset.is_known(&format!("\"other\", W/{}", asset.etag)));
        assert!(
            !asset.is_known("")
                && !asset.is_known("\"other\"")
                && !asset.is_known(asset.etag.trim_matches('"'))
        );
        let mut tags: Vec<_> = ASSETS.iter().map(|asset| asset.etag).collect();
        tags.sort_unstable();
        tags.dedup();
        let mut contents: Vec<_> = ASSETS.iter().map(|asset| asset.bytes).collect();
        contents.sort_unstable();
        contents.dedup();
        assert_eq!(tags.len(), contents.len());
    }

    #[test]
    fn only_the_sdk_is_open_to_other_origins() {
        for asset in ASSETS {
            let open = asset.headers().any(|(name, _)| name == "Access-Control-Allow-Origin");
            assert_eq!(open, asset.path.starts_with("/sdk/"), "{}", asset.path);
        }
    }
}
