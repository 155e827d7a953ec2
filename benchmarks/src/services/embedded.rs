use std::path::Path;

use futures::FutureExt;

use super::{Place, Service, Sides};
use crate::contest::side;
use crate::contestants::engine::Embedded;
use crate::contestants::files::{Fjall, Redb, Sled};
use crate::contestants::ours::Ours;
use crate::contestants::rivals::OpenDal;
use crate::contestants::sqlite::Sqlite;

/// All files are in one folder, on one disk.
pub(super) fn start(parent: &Path) -> Service {
    let folder = tempfile::Builder::new()
        .prefix("files-")
        .tempdir_in(parent)
        .expect("a folder");
    Service {
        name: "embedded",
        version: "files on one disk".to_owned(),
        remote: None,
        connect: |place| sides(place).boxed(),
        place: Place::Folder(folder.path().to_owned()),
        server: Box::new(folder),
    }
}

async fn sides(place: Place) -> Sides {
    let path = |name: &str| place.folder().join(name);
    let url = format!("file:{}", path("statestore.redb").display());
    let redb = Redb::open(&path("raw.redb"));
    let opendal = opendal::services::Redb::default()
        .datadir(&path("opendal.redb").display().to_string())
        .table("state");
    let opendal = opendal::Operator::new(opendal).expect("a service");
    vec![
        side(Ours::open(&url).await),
        side(Embedded::new(redb.clone())),
        side(Embedded::careful("redb, reading on a blocking thread", redb)),
        side(Embedded::new(Fjall::open(&path("fjall")))),
        side(Embedded::new(Sled::open(&path("sled")))),
        side(Embedded::new(Sqlite::open(&path("sqlite")))),
        side(OpenDal::new("opendal, redb", opendal)),
    ]
}
