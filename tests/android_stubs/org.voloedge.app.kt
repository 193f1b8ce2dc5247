/* what Gradle writes */
package org.voloedge.app

object BuildConfig {
    const val EXECUTORCH = ""
    const val VERSION_NAME = ""
}
