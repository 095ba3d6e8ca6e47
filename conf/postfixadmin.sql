-- The tables of PostfixAdmin 3.3 (its layout number 1847): a database made from these can be used by PostfixAdmin as it is.
-- tests/system/test_guide.py compares them with those PostfixAdmin makes.

CREATE TABLE domain (
    domain          VARCHAR(255) NOT NULL,
    description     VARCHAR(255) CHARACTER SET utf8mb3 NOT NULL,
    aliases         INT(10) NOT NULL DEFAULT 0,
    mailboxes       INT(10) NOT NULL DEFAULT 0,
    maxquota        BIGINT NOT NULL DEFAULT 0,
    quota           BIGINT NOT NULL DEFAULT 0,
    transport       VARCHAR(255) NOT NULL,
    backupmx        BOOL NOT NULL DEFAULT 0,
    created         DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified        DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    active          BOOL NOT NULL DEFAULT 1,
    password_expiry INT DEFAULT 0,
    PRIMARY KEY (domain)
) ENGINE = InnoDB COLLATE = latin1_general_ci;

CREATE TABLE mailbox (
    username        VARCHAR(255) NOT NULL,
    password        VARCHAR(255) NOT NULL,
    name            VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
    maildir         VARCHAR(255) NOT NULL,
    quota           BIGINT NOT NULL DEFAULT 0,
    local_part      VARCHAR(255) NOT NULL,
    domain          VARCHAR(255) NOT NULL,
    created         DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified        DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    active          BOOL NOT NULL DEFAULT 1,
    phone           VARCHAR(30) CHARACTER SET utf8mb3 NOT NULL DEFAULT '',
    email_other     VARCHAR(255) CHARACTER SET utf8mb3 NOT NULL DEFAULT '',
    token           VARCHAR(255) CHARACTER SET utf8mb3 NOT NULL DEFAULT '',
    token_validity  DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    password_expiry DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    PRIMARY KEY (username),
    KEY domain (domain)
) ENGINE = InnoDB COLLATE = latin1_general_ci;

CREATE TABLE alias (
    address  VARCHAR(255) NOT NULL,
    goto     TEXT NOT NULL,
    domain   VARCHAR(255) NOT NULL,
    created  DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    active   BOOL NOT NULL DEFAULT 1,
    PRIMARY KEY (address),
    KEY domain (domain)
) ENGINE = InnoDB COLLATE = latin1_general_ci;

CREATE TABLE alias_domain (
    alias_domain  VARCHAR(255) NOT NULL DEFAULT '',
    target_domain VARCHAR(255) NOT NULL DEFAULT '',
    created       DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified      DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    active        BOOL NOT NULL DEFAULT 1,
    PRIMARY KEY (alias_domain),
    KEY active (active),
    KEY target_domain (target_domain)
) ENGINE = InnoDB COLLATE = latin1_general_ci;

CREATE TABLE admin (
    username       VARCHAR(255) NOT NULL,
    password       VARCHAR(255) NOT NULL,
    created        DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified       DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    active         BOOL NOT NULL DEFAULT 1,
    superadmin     BOOL NOT NULL DEFAULT 0,
    phone          VARCHAR(30) CHARACTER SET utf8mb3 NOT NULL DEFAULT '',
    email_other    VARCHAR(255) CHARACTER SET utf8mb3 NOT NULL DEFAULT '',
    token          VARCHAR(255) CHARACTER SET utf8mb3 NOT NULL DEFAULT '',
    token_validity DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    PRIMARY KEY (username)
) ENGINE = InnoDB COLLATE = latin1_general_ci;

CREATE TABLE domain_admins (
    username VARCHAR(255) NOT NULL,
    domain   VARCHAR(255) NOT NULL,
    created  DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    active   BOOL NOT NULL DEFAULT 1,
    id       INT NOT NULL AUTO_INCREMENT,
    PRIMARY KEY (id),
    KEY username (username)
) ENGINE = InnoDB COLLATE = latin1_general_ci;

CREATE TABLE log (
    timestamp DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    username  VARCHAR(255) NOT NULL,
    domain    VARCHAR(255) NOT NULL,
    action    VARCHAR(255) NOT NULL,
    data      TEXT NOT NULL,
    id        INT NOT NULL AUTO_INCREMENT,
    PRIMARY KEY (id),
    KEY domain_timestamp (domain, timestamp),
    KEY timestamp (timestamp)
) ENGINE = InnoDB COLLATE = latin1_general_ci;

CREATE TABLE vacation (
    email         VARCHAR(255) NOT NULL,
    subject       VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
    body          TEXT CHARACTER SET utf8mb4 NOT NULL,
    cache         TEXT NOT NULL,
    domain        VARCHAR(255) NOT NULL,
    created       DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    active        BOOL NOT NULL DEFAULT 1,
    modified      TIMESTAMP NOT NULL DEFAULT current_timestamp(),
    activefrom    TIMESTAMP NOT NULL DEFAULT '2000-01-01 00:00:00',
    activeuntil   TIMESTAMP NOT NULL DEFAULT '2038-01-18 00:00:00',
    interval_time INT NOT NULL DEFAULT 0,
    PRIMARY KEY (email),
    KEY email (email)
) ENGINE = InnoDB COLLATE = latin1_general_ci;

CREATE TABLE vacation_notification (
    on_vacation VARCHAR(255) CHARACTER SET latin1 COLLATE latin1_general_ci NOT NULL,
    notified    VARCHAR(255) CHARACTER SET latin1 COLLATE latin1_general_ci NOT NULL DEFAULT '',
    notified_at TIMESTAMP NOT NULL DEFAULT current_timestamp(),
    PRIMARY KEY (on_vacation, notified),
    CONSTRAINT vacation_notification_pkey FOREIGN KEY (on_vacation) REFERENCES vacation (email) ON DELETE CASCADE
) ENGINE = InnoDB COLLATE = utf8mb3_general_ci;

CREATE TABLE fetchmail (
    id             INT(11) UNSIGNED NOT NULL AUTO_INCREMENT,
    mailbox        VARCHAR(255) NOT NULL,
    src_server     VARCHAR(255) NOT NULL,
    src_auth       ENUM('password', 'kerberos_v5', 'kerberos', 'kerberos_v4', 'gssapi', 'cram-md5', 'otp', 'ntlm', 'msn', 'ssh', 'any') CHARACTER SET utf8mb4,
    src_user       VARCHAR(255) NOT NULL,
    src_password   VARCHAR(255) NOT NULL,
    src_folder     VARCHAR(255) NOT NULL,
    poll_time      INT(11) UNSIGNED NOT NULL DEFAULT 10,
    fetchall       TINYINT(1) UNSIGNED NOT NULL DEFAULT 0,
    keep           TINYINT(1) UNSIGNED NOT NULL DEFAULT 0,
    protocol       ENUM('POP3', 'IMAP', 'POP2', 'ETRN', 'AUTO') CHARACTER SET utf8mb4,
    usessl         TINYINT(1) UNSIGNED NOT NULL DEFAULT 0,
    extra_options  TEXT,
    returned_text  TEXT,
    mda            VARCHAR(255) NOT NULL,
    date           TIMESTAMP NOT NULL DEFAULT '2000-01-01 00:00:00',
    sslcertck      BOOL NOT NULL DEFAULT 0,
    sslcertpath    VARCHAR(255) CHARACTER SET utf8mb3 DEFAULT '',
    sslfingerprint VARCHAR(255) DEFAULT '',
    domain         VARCHAR(255) DEFAULT '',
    active         BOOL NOT NULL DEFAULT 0,
    created        TIMESTAMP NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified       TIMESTAMP NOT NULL DEFAULT current_timestamp(),
    src_port       INT NOT NULL DEFAULT 0,
    PRIMARY KEY (id)
) ENGINE = InnoDB COLLATE = latin1_general_ci;

CREATE TABLE quota (
    username VARCHAR(255) NOT NULL,
    path     VARCHAR(100) NOT NULL,
    current  BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (username, path)
) ENGINE = InnoDB COLLATE = latin1_general_ci;

CREATE TABLE quota2 (
    username VARCHAR(255) CHARACTER SET latin1 COLLATE latin1_general_ci NOT NULL,
    bytes    BIGINT NOT NULL DEFAULT 0,
    messages INT NOT NULL DEFAULT 0,
    PRIMARY KEY (username)
) ENGINE = InnoDB COLLATE = utf8mb4_general_ci;

CREATE TABLE config (
    id    INT NOT NULL AUTO_INCREMENT,
    name  VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_general_ci NOT NULL DEFAULT '',
    value VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_general_ci NOT NULL DEFAULT '',
    PRIMARY KEY (id),
    UNIQUE KEY name (name)
) ENGINE = InnoDB COLLATE = utf8mb4_general_ci;

INSERT INTO config (name, value) VALUES ('version', '1847');
