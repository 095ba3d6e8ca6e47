/*
 * fiber_switch(void **save_sp, void *to_sp) - save the callee-saved registers and the stack pointer, continue on another stack
 *
 * The floating-point control words are not saved: no code of ours changes them.
 * The ELF note announces branch tracking (IBT) but no shadow stack: a switch leaves the stack of the call by design.
 */
#if defined(__x86_64__)
    .text
    .globl  fiber_switch
    .hidden fiber_switch
    .type   fiber_switch, @function
    .p2align 4
fiber_switch:
    .cfi_startproc
    endbr64
    pushq   %rbp
    pushq   %rbx
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    movq    %rsp, (%rdi)
    movq    %rsi, %rsp
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %rbx
    popq    %rbp
    ret
    .cfi_endproc
    .size   fiber_switch, . - fiber_switch

/* First frame of every fiber: a return address of 0 above it ends a debugger's walk. */
    .globl  fiber_start
    .hidden fiber_start
    .type   fiber_start, @function
    .p2align 4
fiber_start:
    .cfi_startproc
    .cfi_undefined rip
    endbr64
    xorl    %ebp, %ebp
    call    fiber_main
    ud2
    .cfi_endproc
    .size   fiber_start, . - fiber_start

    .section .note.gnu.property, "a"
    .p2align 3
    .long   4
    .long   16
    .long   5
    .asciz  "GNU"
    .long   0xc0000002
    .long   4
    .long   1
    .long   0
#elif defined(__aarch64__)
    .text
    .globl  fiber_switch
    .hidden fiber_switch
    .type   fiber_switch, %function
    .p2align 4
fiber_switch:
    .cfi_startproc
    stp     x29, x30, [sp, #-160]!
    stp     x19, x20, [sp, #16]
    stp     x21, x22, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x25, x26, [sp, #64]
    stp     x27, x28, [sp, #80]
    stp     d8, d9, [sp, #96]
    stp     d10, d11, [sp, #112]
    stp     d12, d13, [sp, #128]
    stp     d14, d15, [sp, #144]
    mov     x9, sp
    str     x9, [x0]
    mov     sp, x1
    ldp     x19, x20, [sp, #16]
    ldp     x21, x22, [sp, #32]
    ldp     x23, x24, [sp, #48]
    ldp     x25, x26, [sp, #64]
    ldp     x27, x28, [sp, #80]
    ldp     d8, d9, [sp, #96]
    ldp     d10, d11, [sp, #112]
    ldp     d12, d13, [sp, #128]
    ldp     d14, d15, [sp, #144]
    ldp     x29, x30, [sp], #160
    ret
    .cfi_endproc
    .size   fiber_switch, . - fiber_switch

    .globl  fiber_start
    .hidden fiber_start
    .type   fiber_start, %function
    .p2align 4
fiber_start:
    .cfi_startproc
    .cfi_undefined x30
    mov     x29, xzr
    bl      fiber_main
    brk     #0
    .cfi_endproc
    .size   fiber_start, . - fiber_start
#endif
    .section .note.GNU-stack, "", %progbits
