//! Whole outputs, looked at by people. `UPDATE_GOLDEN=1` writes them anew; look at the difference before it is committed.

use super::{outrigger, root};

const FOLDER: &str = "cli/tests/inject/golden";

#[test]
fn a_manifest_full_of_comments_comes_out_as_expected() {
    let configuration = format!("{FOLDER}/configuration.yaml");
    let input = format!("{FOLDER}/commented.yaml");
    let done = outrigger(&["inject", "-f", &input, "--injectConfigFile", &configuration], "");
    assert_eq!(done.code, Some(0), "{}", done.err);
    let expected = root().join(FOLDER).join("commented.injected.yaml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&expected, &done.out).unwrap();
    }
    assert_eq!(done.out, std::fs::read_to_string(&expected).unwrap());
    let again = outrigger(&["inject", "-f", "-", "--injectConfigFile", &configuration], &done.out);
    assert_eq!(again.out, done.out);
    let back = outrigger(&["uninject", "-f", "-"], &done.out);
    assert_eq!(super::read(&back.out), super::read(&std::fs::read_to_string(root().join(input)).unwrap()), "{}", back.err);
}
