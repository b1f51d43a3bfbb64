//! The bytes of each kind of message, kept beside this file.
//!
//! `DOTTER_GOLDEN=write` writes them anew, for a change of the format before its first release.

mod shapes;

use std::path::Path;

use dotter_wire::Message;

#[test]
fn each_kind_of_message_has_the_bytes_it_had() {
    for (name, message) in shapes::fixed() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.v0.wire"));
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        if std::env::var_os("DOTTER_GOLDEN").is_some_and(|value| value == "write") {
            std::fs::write(&path, &bytes).unwrap();
        }
        let kept = std::fs::read(&path).unwrap();
        assert_eq!(bytes, kept, "{name}");
        shapes::assert_same(&Message::decode(&kept).unwrap(), &message);
    }
}
