/* What an operator may decide about a replica, whatever kind of store it is. */
#pragma once

enum schema_change { SCHEMA_EVOLVE, SCHEMA_STOP, SCHEMA_IGNORE };
enum triggers { TRIGGERS_OFF, TRIGGERS_FIRE };
enum on_missing { MISSING_INSERT, MISSING_STOP };
