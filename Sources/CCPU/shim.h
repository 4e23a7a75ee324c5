// What Swift cannot say: which instruction sets the importing module was compiled for, and which this CPU has.
#ifndef LOCKSTEP_CCPU_SHIM_H
#define LOCKSTEP_CCPU_SHIM_H
#endif
