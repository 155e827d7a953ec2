//! Where an entry's document is: `{collection}/{partition}/{collection}-items/{id}`. Pure.

use statestore_api::Key;

use super::ids;

/// The names of a store's documents.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// `projects/{project}/databases/{database}`.
    database: String,
    /// `{database}/documents/{collection}/`.
    partitions: String,
    /// The collection that each partition has.
    items: String,
}

impl Names {
    /// The names below `database`, which is `projects/…/databases/…`.
    pub(super) fn new(database: String, collection: &str) -> Self {
        Self {
            partitions: format!("{database}/documents/{collection}/"),
            // A name of its own, not just `items`: indexes and the sweep are switched by this name, wherever it is in a database.
            items: format!("{collection}-items"),
            database,
        }
    }

    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// The root of all documents.
    pub(super) fn root(&self) -> String {
        format!("{}/documents", self.database)
    }

    /// The collections' id, for queries over all partitions.
    pub(super) fn items(&self) -> &str {
        &self.items
    }

    /// The parent of a partition's documents, which need not be there itself.
    pub(super) fn partition(&self, partition: &str) -> String {
        format!("{}{}", self.partitions, ids::encode(partition))
    }

    pub(super) fn document(&self, key: &Key) -> String {
        self.place(key.partition(), key.id())
    }

    /// Where `id` is in its partition's order, whether there is such a document or not.
    pub(super) fn place(&self, partition: &str, id: &str) -> String {
        let (partition, id) = (ids::encode(partition), ids::encode(id));
        let mut name =
            String::with_capacity(self.partitions.len() + partition.len() + self.items.len() + id.len() + 2);
        for part in [&*self.partitions, &partition, "/", &self.items, "/", &id] {
            name.push_str(part);
        }
        name
    }

    /// Whether that is the name of `key`'s document.
    pub(super) fn is_of(&self, name: &str, key: &Key) -> bool {
        let rest = || {
            let rest = name.strip_prefix(&self.partitions)?;
            let rest = rest.strip_prefix(&*ids::encode(key.partition()))?;
            let rest = rest.strip_prefix('/')?.strip_prefix(&self.items)?;
            rest.strip_prefix('/')
        };
        rest().is_some_and(|id| id == ids::encode(key.id()))
    }

    /// Those of one partition.
    pub(super) fn of_partition(&self, partition: &str) -> PartitionNames {
        PartitionNames {
            prefix: format!("{}/{}/", self.partition(partition), self.items),
            partition: partition.to_owned(),
        }
    }

    /// The key of a document of this store; `None` for another's.
    pub(super) fn key(&self, name: &str) -> Option<Key> {
        let (partition, rest) = name.strip_prefix(&self.partitions)?.split_once('/')?;
        let id = rest.strip_prefix(&self.items)?.strip_prefix('/')?;
        Key::new(ids::decode(partition)?, ids::decode(id)?).ok()
    }
}

/// The names of one partition's documents, which differ in their ends alone.
pub(super) struct PartitionNames {
    prefix: String,
    partition: String,
}

impl PartitionNames {
    /// The key of a document of this partition; `None` for another.
    pub(super) fn key(&self, name: &str) -> Option<Key> {
        let id = name.strip_prefix(&self.prefix)?;
        Key::new(&self.partition, ids::decode(id)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_key() {
        let names = Names::new("projects/p/databases/(default)".to_owned(), "state");
        for (partition, id, path) in [
            ("user-42", "cart", "state/user-42/state-items/cart"),
            ("a/b", "..", "state/a.~b/state-items/.-."),
            ("state-items", "state", "state/state-items/state-items/state"),
        ] {
            let key = Key::new(partition, id).unwrap();
            let name = names.document(&key);
            assert_eq!(name, format!("projects/p/databases/(default)/documents/{path}"));
            assert!(names.is_of(&name, &key) && !names.is_of(&format!("{name}x"), &key));
            let other = Key::new(partition, "other").unwrap();
            assert!(!names.is_of(&name, &other) && !names.is_of(&names.document(&other), &key));
            assert_eq!(names.of_partition("other").key(&name), None);
            assert_eq!(names.of_partition(partition).key(&name), Some(key.clone()));
            assert_eq!(names.key(&name), Some(key));
        }
    }

    #[test]
    fn another_s_document_is_told_apart() {
        let names = Names::new("projects/p/databases/(default)".to_owned(), "state");
        for path in [
            "state/p",
            "state/p/other/id",
            "state/p/state-items/id/more/x",
            "other/p/state-items/id",
            "state/.x/state-items/id",
        ] {
            let name = format!("projects/p/databases/(default)/documents/{path}");
            assert_eq!(names.key(&name), None, "{path}");
            assert_eq!(names.of_partition("p").key(&name), None, "{path}");
        }
    }
}
