//! What is written when all is measured.

pub(crate) mod markdown;
mod plots;
mod tables;

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::contest::Cell;
use crate::costs::{Connections, Cost};
use crate::growth::Growth;
use crate::layers::Call;
use crate::machine::Machine;
use crate::memory::Held;
use crate::start::Start;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) command: String,
    pub(crate) machine: Machine,
    pub(crate) comparisons: Vec<Cell>,
    /// The rows that failed.
    pub(crate) failed: Vec<String>,
    pub(crate) costs: Vec<Cost>,
    pub(crate) connections: Vec<Connections>,
    pub(crate) layers: Vec<Call>,
    pub(crate) memory: Vec<Held>,
    pub(crate) growth: Growth,
    pub(crate) start: Vec<Start>,
}

impl Report {
    /// Writes `report.md`, `report.json` and the plots into `folder`.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let plots = plots::draw(self, folder)?;
        fs::write(
            folder.join("report.md"),
            markdown::text(self, "Benchmarks", &plots, ""),
        )?;
        fs::write(folder.join("report.json"), serde_json::to_vec_pretty(self)?)
    }

    /// Writes `benchmarks.md` and its plots into the folder of the documentation.
    pub(crate) fn write_docs(&self, docs: &Path) -> io::Result<()> {
        let folder = docs.join("benchmarks");
        fs::create_dir_all(&folder)?;
        let plots = plots::draw(self, &folder)?;
        fs::write(
            docs.join("benchmarks.md"),
            markdown::text(self, "Benchmarks", &plots, "benchmarks/"),
        )
    }
}
