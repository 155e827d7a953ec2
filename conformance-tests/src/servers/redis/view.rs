use std::ops::RangeInclusive;

use super::slot::SLOTS;

/// What one node of a cluster says about all.
#[derive(Debug)]
pub(super) struct View {
    pub(super) nodes: Vec<NodeView>,
}

/// A line of `CLUSTER NODES`.
#[derive(Debug)]
pub(super) struct NodeView {
    pub(super) id: String,
    flags: Vec<String>,
    /// Of a replica, its primary's id.
    pub(super) primary: Option<String>,
    pub(super) epoch: u64,
    connected: bool,
    slots: Vec<RangeInclusive<u16>>,
}

impl View {
    /// Reads the answer to `CLUSTER NODES`. Lines that cannot be read are left out, so that the view is not whole.
    pub(super) fn parse(text: &str) -> Self {
        Self {
            nodes: text.lines().filter_map(NodeView::parse).collect(),
        }
    }

    /// The node with this id.
    pub(super) fn node(&self, id: &str) -> Option<&NodeView> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The node that gave the view.
    pub(super) fn myself(&self) -> Option<&NodeView> {
        self.nodes.iter().find(|node| node.is("myself"))
    }

    /// The ids of the slots' owners, where every slot has one.
    pub(super) fn owners(&self) -> Option<Vec<&str>> {
        (0..SLOTS)
            .map(|slot| {
                self.nodes
                    .iter()
                    .find(|node| node.owns(slot))
                    .map(|node| &*node.id)
            })
            .collect()
    }
}

impl NodeView {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let mut next = || fields.next();
        let id = next()?.to_owned();
        let _addr = next()?;
        let flags = next()?.split(',').map(str::to_owned).collect();
        let primary = Some(next()?).filter(|primary| *primary != "-").map(str::to_owned);
        let (_ping, _pong) = (next()?, next()?);
        Some(Self {
            id,
            flags,
            primary,
            epoch: next()?.parse().ok()?,
            connected: next()? == "connected",
            slots: fields.filter_map(slots).collect(),
        })
    }

    fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|other| other == flag)
    }

    /// Whether the node is reachable, and nobody has said that it is not.
    pub(super) fn is_well(&self) -> bool {
        let ill = ["fail", "fail?", "handshake", "noaddr"];
        (self.connected || self.is("myself")) && !ill.iter().any(|flag| self.is(flag))
    }

    pub(super) fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|slots| slots.contains(&slot))
    }

    pub(super) fn owns_any(&self) -> bool {
        !self.slots.is_empty()
    }
}

/// Reads `5` and `0-5460`, not the `[93->-id]` of a slot on its way.
fn slots(field: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = field.split_once('-').unwrap_or((field, field));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_versions_are_read() {
        let view = View::parse(
            "aa 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460 5462 [93->-bb] [77-<-bb]\n\
             bb 127.0.0.1:7001@17001,host master,fail? - 0 0 2 connected 5461 5463-16383\n\
             cc 127.0.0.1:7002@17002,,shard-id=dd slave aa 0 0 1 disconnected\n",
        );
        let [aa, bb, cc] = &view.nodes[..] else {
            panic!("{view:?}")
        };
        assert_eq!(view.myself().unwrap().id, "aa");
        assert!(aa.is_well() && aa.owns(5462) && !aa.owns(5461) && aa.owns_any());
        assert!(!bb.is_well() && bb.owns(16383) && bb.epoch == 2);
        assert!(!cc.is_well() && cc.primary.as_deref() == Some("aa") && !cc.owns_any());
        let owners = view.owners().unwrap();
        assert_eq!((owners[93], owners[5461], owners.len()), ("aa", "bb", 16384));
    }
}
