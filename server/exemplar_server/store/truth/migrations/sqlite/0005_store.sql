-- One row: which store this is, how many transactions were committed to it, and how often it was opened. Whoever opened
-- it before the last one may not write any more.
CREATE TABLE store (
    id TEXT NOT NULL,
    changes INTEGER NOT NULL,
    epoch INTEGER NOT NULL
);
