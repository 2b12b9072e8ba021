//! The JSON schema of a topology file, for editors.

use crate::spec::Spec;

/// The schema, as kept in `topologies/schema.json`.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Spec);
    // A schema is a tree of strings, numbers and lists: it always has a JSON form.
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_schema_kept_in_the_repository_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.json");
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&path, super::schema()).expect("the schema can be written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == super::schema(),
            "run `UPDATE_SCHEMA=1 cargo test -p topology schema` and commit schema.json"
        );
    }
}
