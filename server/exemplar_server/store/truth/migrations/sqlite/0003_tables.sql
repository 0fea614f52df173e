-- Galleries, classes and exemplars; what an earlier program wrote has just these tables.
CREATE TABLE galleries (
    id TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    model TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    class_count INTEGER NOT NULL,
    false_accept_rate REAL,
    max_exemplars_per_class INTEGER,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    calibration TEXT,
    checksum BLOB NOT NULL
);
CREATE TABLE classes (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    gallery TEXT NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    display_name TEXT NOT NULL,
    attributes TEXT NOT NULL,
    embedding BLOB NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    checksum BLOB NOT NULL,
    UNIQUE (gallery, id)
);
CREATE TABLE exemplars (
    class INTEGER NOT NULL REFERENCES classes (row) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    format TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    region TEXT,
    embedding BLOB NOT NULL,
    checksum BLOB NOT NULL,
    image BLOB NOT NULL,
    PRIMARY KEY (class, position),
    UNIQUE (sha256, class)
);
CREATE TABLE requests (
    id TEXT PRIMARY KEY,
    method TEXT NOT NULL,
    digest BLOB NOT NULL,
    response BLOB NOT NULL,
    time INTEGER NOT NULL,
    checksum BLOB NOT NULL
);
CREATE INDEX requests_by_time ON requests (time);
