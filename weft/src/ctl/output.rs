//! Tables for people, JSON and YAML for programs.

use serde::Serialize;

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table for people.
    Table,
    /// JSON as the REST API writes it.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Writes a value in a format for programs.
pub fn write(value: &impl Serialize, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Yaml => print!("{}", yaml(value)?),
        _ => println!("{}", serde_json::to_string_pretty(value)?),
    }
    Ok(())
}

/// As YAML.
pub fn yaml(value: &impl Serialize) -> anyhow::Result<String> {
    let mut text = serde_saphyr::to_string(value)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Prints a table without lines, that `awk` reads as well.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(head.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    let lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    println!("{}", lines.join("\n"));
}
