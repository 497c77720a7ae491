#pragma once

/* The file that the place's sources read; a case may do to it whatever it likes. */
extern char sqlite_path[256];
