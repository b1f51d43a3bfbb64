//! What does not fit is refused by dotter-store, rather than stored as something else.

mod support;

use support::tool::{failed, printed, told};

#[test]
fn a_number_too_large_for_its_float_is_no_infinity() {
    let dir = tempfile::tempdir().unwrap();
    for (args, input) in [
        (&["add"][..], "a 1 1e400\n"),
        (&["add"], "a 1 f 1e39\n"),
        (&["import", "--csv"], "time,series,value\n1,a,1e400\n"),
        (&["import", "--csv", "--wide"], "time,a\n1,1e400\n"),
        (&["import", "--openmetrics"], "a 1e400 1\n# EOF\n"),
        (&["import", "--prometheus"], "a 1e400 1\n"),
        (&["import", "--sonnerie"], "a\t1\tf\t1e39\n"),
    ] {
        let (code, said) = failed(dir.path(), args, input);
        assert_eq!(code, 1, "{args:?}: {said}");
        assert!(
            said.contains("does not fit into ") && said.contains("nothing was stored"),
            "{args:?}: {said}"
        );
    }
    told(dir.path(), &["add"], "a 1 inf\na 2 f -inf\na 3 1e-400\n");
    assert_eq!(
        printed(dir.path(), &["read", "%", "--timestamp-nanos"]),
        "a\t1\tinf\na\t2\tf\t-inf\na\t3\t0\n"
    );
}
