//! What was asked and is not answered yet, in order.

/// Most requests that may wait for their answers. Browsers send one at a time.
pub(super) const MOST: u8 = 16;

/// What decides how an answer is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kind {
    /// `HEAD`, whose answer has no body.
    pub(super) is_head: bool,
    /// It asks for another protocol.
    pub(super) asks_upgrade: bool,
}

/// A queue of at most [`MOST`] requests, two bits each.
#[derive(Debug, Default)]
pub(super) struct Asked {
    kinds: u32,
    count: u8,
}

impl Asked {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.count == MOST
    }

    /// The one that is answered next.
    pub(super) fn first(&self) -> Option<Kind> {
        (self.count > 0).then_some(Kind { is_head: self.kinds & 1 != 0, asks_upgrade: self.kinds & 2 != 0 })
    }

    /// Adds one, unless it is full.
    pub(super) fn push(&mut self, kind: Kind) {
        if !self.is_full() {
            let bits = u32::from(kind.is_head) | u32::from(kind.asks_upgrade) << 1;
            self.kinds |= bits << (2 * self.count);
            self.count += 1;
        }
    }

    /// Takes the first one.
    pub(super) fn answered(&mut self) {
        self.kinds >>= 2;
        self.count = self.count.saturating_sub(1);
    }
}
