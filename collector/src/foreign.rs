//! Other protocols on the Graphite port, told by a line that is no metric.
//!
//! Any web page can have a browser connect to a port of this machine and send an HTTP request whose body the page
//! chose. The request line comes before the body, so a connection that is closed at its request line takes nothing
//! from the page.

use dotter_intake::graphite::LINE_BYTES_MAX;

/// What is spoken instead of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// A request line, or the first line of HTTP/2, which has the same form.
    Http,
    /// The first message of TLS.
    Tls,
}

impl Foreign {
    /// All of them, each at its own number.
    pub(crate) const ALL: [Foreign; 2] = [Foreign::Http, Foreign::Tls];

    /// The word used in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Foreign::Http => "http",
            Foreign::Tls => "tls",
        }
    }

    /// Under which the log holds connections of this kind back.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Foreign::Http => "graphite-http",
            Foreign::Tls => "graphite-tls",
        }
    }

    /// What a line is of that was not taken as a metric; `None` where it is merely bad.
    ///
    /// - `line`: without its end; of one that is too long, its beginning will do
    pub(crate) fn of(line: &[u8]) -> Option<Foreign> {
        // A handshake record, of a version that every client still names there.
        if let [0x16, 0x03, 0..=4, ..] = line {
            return Some(Foreign::Tls);
        }
        let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        let (method, target) = (fields.next()?, fields.next()?);
        let is_request = match fields.next_back() {
            Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', ..]) => true,
            // The version is far behind: a browser takes addresses of megabytes.
            _ if line.len() > LINE_BYTES_MAX => target.starts_with(b"/") || target.starts_with(b"http"),
            _ => false,
        };
        (is_request && method.iter().all(u8::is_ascii_graphic)).then_some(Foreign::Http)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_told_from_a_bad_metric() {
        let long = format!("POST /{}", "a".repeat(LINE_BYTES_MAX));
        for line in [
            "GET / HTTP/1.1\r",
            "POST /data?series=a HTTP/1.0",
            "PRI * HTTP/2.0\r",
            "CONNECT a.example:443 HTTP/1.1\r",
            "  GET\t/ HTTP/1.1  ",
            "GET /a b HTTP/1.1",
            "M-SEARCH * HTTP/1.1",
            &long,
        ] {
            assert_eq!(Foreign::of(line.as_bytes()), Some(Foreign::Http), "{:.60}", line);
        }
        let long = format!("a.b 5{} 7", " ".repeat(LINE_BYTES_MAX));
        for line in [
            "",
            "\r",
            "GET",
            "HTTP/1.1",
            "GET HTTP/1.1",
            "GET / ",
            "POST 1 now",
            "GET / HTTP/1.1 x",
            "a.HTTP/1.1 1 x",
            "Host: localhost",
            "Upgrade: a, HTTP/x",
            &long,
        ] {
            assert_eq!(Foreign::of(line.as_bytes()), None, "{:.60}", line);
        }
    }

    #[test]
    fn a_tls_hello_is_told_by_its_first_bytes() {
        assert_eq!(Foreign::of(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), Some(Foreign::Tls));
        assert_eq!(Foreign::of(b"\x16\x03\x01"), Some(Foreign::Tls));
        for other in [&b"\x16"[..], b"\x16\x03", b"\x16\x03\x09\x00", b"a\x16\x03\x01"] {
            assert_eq!(Foreign::of(other), None, "{other:?}");
        }
    }
}
