//! Percent-encoding and the `key=value&...` lists of query strings and forms.

/// Decoded pairs of a query string or form, in the order they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads `key=value&key&...`: `+` is a blank, `%41` an `A`; an invalid escape stays as it is; a key
    /// without `=` has an empty value. Bytes that are not UTF-8 become U+FFFD.
    pub fn parse(text: &str) -> Query {
        let decode = |part: &str| {
            let bytes = percent_decode(part.as_bytes(), true);
            String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Query { pairs: pairs.collect() }
    }

    /// The first value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// Every value of `key`, in order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(k, _)| *k == key).map(|(_, value)| value)
    }

    /// Every pair, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there is no pair at all.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub(crate) fn append(&mut self, mut later: Query) {
        self.pairs.append(&mut later.pairs);
    }
}

/// Decodes a path. Escapes that are invalid, or that decode to what is not UTF-8, stay as they are, so
/// no two series names fall together by being misread.
pub(crate) fn decode_path(path: &str) -> String {
    let bytes = percent_decode(path.as_bytes(), false);
    let mut decoded = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        decoded.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|b| decoded.push_str(&format!("%{b:02X}")));
    }
    decoded
}

fn percent_decode(bytes: &[u8], plus_is_blank: bool) -> Vec<u8> {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'%' => match (hex(bytes.get(at)), hex(bytes.get(at + 1))) {
                (Some(high), Some(low)) => {
                    decoded.push((high << 4 | low) as u8);
                    at += 2;
                }
                _ => decoded.push(b'%'),
            },
            b'+' if plus_is_blank => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_keep_their_order() {
        let query = Query::parse("target=a.*&target=scale(b%2C2)&from=-1h&&raw&x=1+2&=v&100%&q=%zz%2");
        let pairs: Vec<_> = query.iter().collect();
        assert_eq!(
            pairs,
            [
                ("target", "a.*"),
                ("target", "scale(b,2)"),
                ("from", "-1h"),
                ("raw", ""),
                ("x", "1 2"),
                ("", "v"),
                ("100%", ""),
                ("q", "%zz%2"),
            ]
        );
        assert_eq!(query.get("target"), Some("a.*"));
        assert_eq!(query.all("target").count(), 2);
        assert_eq!(query.get("until"), None);
        assert!(Query::parse("").is_empty() && !query.is_empty());
    }

    #[test]
    fn a_path_keeps_what_it_cannot_decode() {
        let check = |path, decoded| assert_eq!(decode_path(path), decoded);
        check("/store/fib%", "/store/fib%");
        check("/store/fib%4", "/store/fib%4");
        check("/store/a%20b+c", "/store/a b+c");
        check("/caf%C3%A9", "/café");
        check("/%ffx%C3", "/%FFx%C3");
    }
}
